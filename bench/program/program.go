// Package program is what the servers of the benchmark have in common: each listens on loopback, says where, and ends
// with the program that started it.
package program

import (
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof" // profiles under /debug/pprof/
	"os"
	"runtime"
	"time"
)

// Serve makes a handler for the URL under which it will be reached, prints that URL and the name of the server, and
// answers requests until the standard input ends.
func Serve(name string, handler func(url string) (http.Handler, error)) {
	if err := serve(name, handler); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(name string, handler func(url string) (http.Handler, error)) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	url := "http://" + listener.Addr().String()
	served, err := handler(url)
	if err != nil {
		return err
	}
	routes := http.NewServeMux()
	routes.Handle("/", served)
	routes.Handle("/debug/pprof/", http.DefaultServeMux)
	routes.HandleFunc("GET /heap", heap)
	routes.HandleFunc("GET /allocated", allocated)
	web := &http.Server{
		Handler:           routes,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      2 * time.Minute, // a profile takes longer than an answer
	}
	fmt.Println(url, name)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = web.Close()
	}()
	if err := web.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// heap answers with the bytes of live heap. The second collection frees what pools kept over the first.
func heap(w http.ResponseWriter, _ *http.Request) {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Fprint(w, stats.HeapAlloc)
}

// allocated answers with the bytes that were allocated since the start.
func allocated(w http.ResponseWriter, _ *http.Request) {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Fprint(w, stats.TotalAlloc)
}
