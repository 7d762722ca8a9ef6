"""The training objectives, one file each, all run by the same loop."""
