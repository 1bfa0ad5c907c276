"""A street of our own, drawn in perspective, with the truth of every pixel: see render_street.py."""
