"""What M predicts, compared with reality, and C's scores."""
