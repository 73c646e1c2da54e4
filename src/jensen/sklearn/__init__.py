"""The scikit-learn face. No members yet."""
