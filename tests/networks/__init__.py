"""Networks to test with, in plain torch."""
