//go:build !unix

package main

import "time"

// cpuTime is 0 where the system does not report it.
func cpuTime() time.Duration { return 0 }
