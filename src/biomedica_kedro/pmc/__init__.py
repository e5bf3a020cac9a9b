"""The article source: identifiers, licences, inventory, client and archive of PubMed Central's open data."""
