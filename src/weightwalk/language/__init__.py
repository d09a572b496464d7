"""Text: tokenizers, n-grams, sampling and generation."""
