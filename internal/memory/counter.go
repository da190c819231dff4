package memory

import "sync"

// Counter counts how many records have a key. The zero key is not counted. The zero Counter is
// empty and ready; it is safe for many goroutines.
type Counter[K comparable] struct {
	mu     sync.Mutex
	number map[K]int
}

// Replace counts the keys of one record instead of those of another. Calls for one record may
// come in another order than its changes, so a number may be below zero for a moment.
func (c *Counter[K]) Replace(before, after []K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.number == nil {
		c.number = map[K]int{}
	}
	c.add(before, -1)
	c.add(after, 1)
}

func (c *Counter[K]) add(keys []K, step int) {
	var zero K
	for _, key := range keys {
		if key == zero {
			continue
		}
		if c.number[key] += step; c.number[key] == 0 {
			delete(c.number, key)
		}
	}
}

// Of returns how many records have a key.
func (c *Counter[K]) Of(key K) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.number[key], 0)
}
