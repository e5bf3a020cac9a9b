"""Near-duplicates, caption statistics and balance."""
