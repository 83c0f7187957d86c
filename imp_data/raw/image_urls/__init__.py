"""Download images by URL: bounded, polite, checked, resumable, with a status for each URL."""
