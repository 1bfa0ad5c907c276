"""What `icnet bench` measures, and the published tables it puts beside it."""
