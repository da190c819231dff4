package cimd

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// readNothing keeps nothing of a document.
func readNothing(context.Context, any, []byte, error) (any, error) { return nil, nil }

// BenchmarkDocument: what a request costs whose document is known.
func BenchmarkDocument(b *testing.B) {
	for name, storage := range map[string]Storage{"memory": nil, "storage": newShelf()} {
		b.Run("warm/"+name, func(b *testing.B) {
			const id = "https://client.example/c"
			d, err := New(Options{Storage: storage})
			if err != nil {
				b.Fatal(err)
			}
			known(d, id)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := d.Document(context.Background(), id, 1, readNothing); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// known makes a document known that no host has.
func known(d *Documents, id string) {
	body := []byte(`{"client_id":"` + id + `","client_name":"Example","redirect_uris":["http://127.0.0.1/callback"]` + strings.Repeat(" ", 500) + `}`)
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entry(id, "client.example")
	e.known = &document{body: body, etag: `"33a64df551425fcc55e4d42a148795d9f25f89d4"`, fetched: time.Now(), expires: time.Now().Add(time.Hour)}
	e.checked = time.Now().Add(time.Hour) // the storage is not what is measured
	d.keep(e)
}

// BenchmarkFlood: ten thousand requests at once, and how many fetches they lead to.
func BenchmarkFlood(b *testing.B) {
	for name, id := range map[string]func(h *webHost, i int) string{
		"one_url":  func(h *webHost, _ int) string { return h.id },
		"one_host": func(h *webHost, i int) string { return fmt.Sprint(h.id, i) },
	} {
		b.Run(name, func(b *testing.B) {
			var fetches int32
			for b.Loop() {
				h := serveHost(b, says("one"))
				d, err := New(Options{InsecureAllowLoopback: true})
				if err != nil {
					b.Fatal(err)
				}
				var group sync.WaitGroup
				for i := range 10_000 {
					group.Go(func() { _, _ = d.Document(context.Background(), id(h, i), 1, readNothing) })
				}
				group.Wait()
				fetches = h.fetches.Load()
				h.Close()
			}
			b.ReportMetric(float64(fetches), "fetches")
		})
	}
}

// BenchmarkMemory: what a known document of 600 bytes takes, without what its reader makes of it.
func BenchmarkMemory(b *testing.B) {
	const count = 10_000
	var perDocument float64
	for b.Loop() {
		d, err := New(Options{MaxDocuments: count})
		if err != nil {
			b.Fatal(err)
		}
		before := heap()
		for i := range count {
			known(d, fmt.Sprintf("https://client%d.example/oauth/client-metadata.json", i))
		}
		perDocument = float64(heap()-before) / count
		runtime.KeepAlive(d)
	}
	b.ReportMetric(perDocument, "B/document")
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
