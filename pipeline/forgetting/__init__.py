"""What proves that something was forgotten exactly: signed records."""
