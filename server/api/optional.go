package api

// An optional is a member of a PATCH that may be absent, null or a value.
type optional[T any] struct {
	given bool
	value *T // nil: null
}

// set changes field when the member was given.
func (o optional[T]) set(field **T) {
	if o.given {
		*field = o.value
	}
}

// change sets field when a value was given.
func change[T any](field *T, given *T) {
	if given != nil {
		*field = *given
	}
}

// changeText sets a nullable field when a value was given.
func changeText[T any](field **T, given *T) {
	if given != nil {
		*field = given
	}
}
