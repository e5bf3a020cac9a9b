"""From image embeddings to expert labels: projection, clusters, votes, propagation."""
