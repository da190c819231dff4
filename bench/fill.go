package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// filling is many clients, registered without a request for each.
type filling struct {
	clients int
	keep    int // of the clients, spread evenly, so many are used later
	age     time.Duration
	body    string
	to      func(*worker) *[]*client // who keeps them
}

func editors(w *worker) *[]*client { return &w.clients }
func jobs(w *worker) *[]*client    { return &w.services }

// Clients at once in a request to fill, and requests in a round of them.
const (
	mostAtOnce   = 1000
	mostRequests = 40
)

// fill registers the clients, or a few less if they can't be shared out evenly, and returns how many.
func (p *process) fill(f filling) (int, error) {
	atOnce := min(mostAtOnce, f.clients/workers)
	if atOnce == 0 {
		return 0, nil
	}
	if _, err := p.number(http.MethodPost, fmt.Sprint("/clock?slow=", f.age)); err != nil {
		return 0, err
	}
	path := fmt.Sprintf("/fill?clients=%d&keep=%d", atOnce, (atOnce*f.keep+f.clients-1)/f.clients)
	for left := f.clients / atOnce; left > 0; left -= mostRequests {
		if err := p.round(min(left, mostRequests), func(w *worker) error { return w.fill(path, f) }); err != nil {
			return 0, err
		}
	}
	_, err := p.number(http.MethodPost, "/clock?slow=0")
	return f.clients / atOnce * atOnce, err
}

func (w *worker) fill(path string, f filling) error {
	_, body, err := w.do(request{method: http.MethodPost, path: path, contentType: jsonBody, body: f.body, want: http.StatusOK})
	if err != nil {
		return err
	}
	var kept []*client
	err = json.Unmarshal(body, &kept)
	*f.to(w) = append(*f.to(w), kept...)
	return err
}
