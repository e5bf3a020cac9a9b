"""The six pipelines, ingestion to evaluation; they meet in the catalog only."""
