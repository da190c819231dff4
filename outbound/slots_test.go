package outbound

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"
)

// slowHosts answers when it is told to, and counts the exchanges that are under way.
type slowHosts struct {
	proceed  chan struct{}
	underWay atomic.Int64
}

func (s *slowHosts) RoundTrip(r *http.Request) (*http.Response, error) {
	s.underWay.Add(1)
	defer s.underWay.Add(-1)
	select {
	case <-s.proceed:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if strings.HasSuffix(r.URL.Path, "/fails") {
		return nil, errors.New("no connection")
	}
	status := http.StatusOK
	if strings.HasSuffix(r.URL.Path, "/redirects") {
		status = http.StatusFound
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
}

// slowClient is a client whose hosts are slow. It does not touch the network: the time of a bubble goes on.
func slowClient() (*http.Client, *slowHosts) {
	client, hosts := NewClient(Options{}), &slowHosts{proceed: make(chan struct{})}
	client.Transport.(*guard).base = hosts
	return client, hosts
}

// fetchAll fetches all URLs at once, and returns a count of those that were answered and of those that were not.
func fetchAll(ctx context.Context, client *http.Client, urls []string) (answered, failed *atomic.Int64) {
	answered, failed = &atomic.Int64{}, &atomic.Int64{}
	for _, url := range urls {
		go func() {
			if _, err := Fetch(ctx, client, url); err != nil {
				failed.Add(1)
				return
			}
			answered.Add(1)
		}()
	}
	return answered, failed
}

func numbered(count int, prefix, suffix string) (urls []string) {
	for i := range count {
		urls = append(urls, prefix+strconv.Itoa(i)+suffix)
	}
	return urls
}

// TestExchangesWithOneHost: of 44 fetches four are under way, whatever names them, and other hosts do not wait.
func TestExchangesWithOneHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, hosts := slowClient()
		urls := append(numbered(22, "https://victim.example/", ""), numbered(22, "https://VICTIM.example.:8443/", "")...)
		answered, failed := fetchAll(t.Context(), client, urls)
		synctest.Wait()
		require.EqualValues(t, 4, hosts.underWay.Load(), "T68")

		other, _ := fetchAll(t.Context(), client, []string{"https://other.example/"})
		synctest.Wait()
		require.EqualValues(t, 5, hosts.underWay.Load(), "T68: another host has slots of its own")

		close(hosts.proceed)
		synctest.Wait()
		require.EqualValues(t, 44, answered.Load())
		require.EqualValues(t, 1, other.Load())
		require.Zero(t, failed.Load())
		require.Empty(t, client.Transport.(*guard).slots.hosts, "nothing is remembered of a host")
	})
}

func TestExchangesInAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, hosts := slowClient()
		answered, _ := fetchAll(t.Context(), client, numbered(200, "https://a", ".example/"))
		synctest.Wait()
		require.EqualValues(t, 64, hosts.underWay.Load(), "T68")
		close(hosts.proceed)
		synctest.Wait()
		require.EqualValues(t, 200, answered.Load())
	})
}

// TestKeysWithoutASlot: a client is not blamed for what this server has to do for others, only for what its own host has.
func TestKeysWithoutASlot(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		others []string
		want   error
	}{
		"T68/all_taken":     {numbered(64, "https://a", ".example/"), fosite.ErrTemporarilyUnavailable},
		"T68/its_own_taken": {numbered(4, "https://client.example/", ""), fosite.ErrInvalidClient},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, hosts := slowClient()
				client.Timeout = 0 // the others stay
				fetchAll(t.Context(), client, row.others)
				synctest.Wait()
				fetcher, impatient := NewJWKSFetcher(Options{}), *client
				impatient.Timeout = time.Second
				fetcher.client = &impatient
				_, err := fetcher.Resolve(t.Context(), "https://client.example/jwks", false)
				require.ErrorIs(t, err, row.want)
				close(hosts.proceed)
			})
		})
	}
}

// TestWaitingEnds: with the context of the caller, and with the time of the client, which waiting is a part of.
func TestWaitingEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, hosts := slowClient()
		_, slow := fetchAll(t.Context(), client, numbered(4, "https://slow.example/", ""))
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		_, gone := fetchAll(ctx, client, numbered(3, "https://slow.example/gone", ""))
		_, waited := fetchAll(t.Context(), client, numbered(3, "https://slow.example/wait", ""))
		synctest.Wait()
		cancel()
		synctest.Wait()
		require.EqualValues(t, 3, gone.Load(), "T68")
		require.Zero(t, slow.Load()+waited.Load())
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 7, slow.Load()+waited.Load(), "T12: 5 seconds for each, the wait included")
		require.Zero(t, hosts.underWay.Load())
		require.Empty(t, client.Transport.(*guard).slots.hosts)
	})
}

// TestSlotsAreGivenBack: whatever becomes of an exchange, and though a caller forgets the body.
func TestSlotsAreGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, hosts := slowClient()
		close(hosts.proceed)
		for _, path := range []string{"fails", "redirects", "forgotten"} {
			for range 4 {
				response, err := client.Get("https://host.example/" + path)
				require.Equal(t, path == "forgotten", err == nil)
				if err == nil {
					defer func() { _ = response.Body.Close() }()
				}
			}
		}
		answered, _ := fetchAll(t.Context(), client, []string{"https://host.example/"})
		synctest.Wait()
		require.Zero(t, answered.Load(), "all slots are taken")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		require.Zero(t, answered.Load())
		time.Sleep(time.Second)
		answered, failed := fetchAll(t.Context(), client, []string{"https://host.example/"})
		synctest.Wait()
		require.EqualValues(t, 1, answered.Load(), "T68")
		require.Zero(t, failed.Load())
	})
}
