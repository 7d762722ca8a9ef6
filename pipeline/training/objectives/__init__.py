"""What is trained: one file for each objective, all on the one loop."""
