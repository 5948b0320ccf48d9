"""What moves where between frames."""
