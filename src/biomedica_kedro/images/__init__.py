"""Safe decoding, fingerprints and the matching of graphics to files."""
