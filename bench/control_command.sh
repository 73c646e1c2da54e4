#!/bin/sh
# What `jensen control plan` and `imagine` reach with their defaults on the pixel pendulum, one seed each.
# Run: sh bench/control_command.sh FOLDER [PYTHON]
set -e
out=${1:?which folder}
python=${2:-python}
for part in plan imagine; do
    if [ -f "$out/$part/config.yaml" ]; then
        "$python" -m jensen control $part --resume "$out/$part"
    else
        "$python" -m jensen control $part jensen/PixelPendulum-v0 --evaluate 100 --out "$out/$part"
    fi
done
