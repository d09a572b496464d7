"""Facts to what a person sees: terminal, JSON, HTML, figures. Computes nothing."""
