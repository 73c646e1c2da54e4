"""Small Gymnasium environments. No members yet."""
