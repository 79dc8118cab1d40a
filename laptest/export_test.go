package laptest

// Built returns a binary that is built from source, and kept in cache.
func Built(source, cache string) (string, error) { return built(source, cache) }
