"""JATS XML of one article to its record, figures, captions and mentions."""
