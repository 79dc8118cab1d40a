package tool

// Replace is what the edit tool does to a text.
func Replace(text, old, replacement string, all bool) (string, int, error) {
	return editArgs{Old: old, New: replacement, ReplaceAll: all}.apply(text)
}
