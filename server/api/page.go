package api

import (
	"errors"
	"math"
	"net/url"
	"strconv"
)

const (
	defaultLimit = 50
	maxLimit     = 200
)

// A page says which rows of a list are asked for. Values out of range are clamped, what
// is no integer is the default.
type page struct{ limit, offset int }

func parsePage(q url.Values) page {
	return page{
		limit:  integer(q.Get("limit"), defaultLimit, 1, maxLimit),
		offset: integer(q.Get("offset"), 0, 0, math.MaxInt),
	}
}

// pageOf returns the rows of a whole list that are on the page.
func pageOf[T any](p page, rows []T) []T {
	rows = rows[min(p.offset, len(rows)):]
	return rows[:min(p.limit, len(rows))]
}

func integer(text string, fallback, low, high int) int {
	n, err := strconv.Atoi(text) // what is out of range comes back as the nearest int
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return fallback
	}
	return min(max(n, low), high)
}

// idsOf returns the ids of rows.
func idsOf[T any](rows []T, id func(T) string) []string {
	ids := make([]string, len(rows))
	for i, row := range rows {
		ids[i] = id(row)
	}
	return ids
}

// A listReply is the shape of every list.
type listReply[T any] struct {
	Data   []T `json:"data"`
	Total  int `json:"total"`
	Limit  int `json:"limit"`
	Offset int `json:"offset"`
}

// list is the reply with the rows of p, each made by row.
func list[R, T any](p page, rows []R, total int, row func(R) T) listReply[T] {
	data := make([]T, len(rows))
	for i, r := range rows {
		data[i] = row(r)
	}
	return listReply[T]{Data: data, Total: total, Limit: p.limit, Offset: p.offset}
}
