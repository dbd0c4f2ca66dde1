"""Files: what users attach and agents make. Their bytes lie in an object store, what is known of them in ours."""
