package dcrtest

import "sync"

// AllAtOnce sends n requests at once and returns their answers.
func AllAtOnce(n int, send func(i int) Answer) []Answer {
	answers := make([]Answer, n)
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			<-start
			answers[i] = send(i)
		})
	}
	close(start)
	group.Wait()
	return answers
}

// InParallel calls from n goroutines and waits for all.
func InParallel(n int, call func(i int)) {
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() { call(i) })
	}
	running.Wait()
}
