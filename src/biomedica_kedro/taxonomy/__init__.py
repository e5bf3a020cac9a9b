"""The tree of concepts that labels are taken from."""

from biomedica_kedro.taxonomy.tree import BIOMEDICA, Concept, Question, Taxonomy, TaxonomyError, load_taxonomy

__all__ = ["BIOMEDICA", "Concept", "Question", "Taxonomy", "TaxonomyError", "load_taxonomy"]
