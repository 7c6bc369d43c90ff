"""Published SAM 2.1 and DINOv2 checkpoints in, an Engram bundle out."""
