"""Files: what users attach and agents make. Their bytes lie in an object store."""
