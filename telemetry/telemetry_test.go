package telemetry_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/telemetry"
)

var background = context.Background()

// clock is a Config.Now that the test moves.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// TestCounts counts each kind of event that requests and operators bring about (LIFE-05).
func TestCounts(t *testing.T) {
	t.Parallel()
	hands := new(clock)
	cfg := dcr.Config{Now: hands.now}
	cfg.Limits.Rate.Total = dcr.Rate{Count: 6, Per: time.Hour}
	o := observe(t, dcrtest.Setup{Config: cfg, UnusedEnd: true}, telemetry.Options{})

	first, second, third := o.Register(t, metadata), o.Register(t, metadata), o.Register(t, metadata)
	require.Equal(t, http.StatusBadRequest, o.Post(t, `{"redirect_uris":["ftp://app.example/"]}`).Status)
	require.Equal(t, http.StatusBadRequest, o.Post(t, `{"redirect_uris":["https://app.example/"],"contacts":1}`).Status)
	require.Equal(t, http.StatusBadRequest, o.Post(t, `{`).Status)
	for range 2 {
		require.Equal(t, http.StatusTooManyRequests, o.Post(t, metadata).Status)
	}
	require.Equal(t, http.StatusOK, o.Manage(t, "GET", first, nil).Status, "a read is no event")
	body := strings.Replace(metadata, "{", `{"client_id":"`+first.ID()+`",`, 1)
	require.Equal(t, http.StatusOK, o.Manage(t, "PUT", first, body).Status)
	require.Equal(t, http.StatusUnauthorized, o.Manage(t, "PUT", first, body).Status, "the token is dead")
	require.Equal(t, http.StatusNoContent, o.Manage(t, "DELETE", second, nil).Status)
	form := url.Values{"grant_type": {"authorization_code"}}
	require.Equal(t, http.StatusUnauthorized, o.Form(t, "/oauth2/token", form, dcrtest.Basic(third.ID(), "wrong")).Status)
	require.Equal(t, http.StatusUnauthorized, o.Form(t, "/oauth2/token", form, dcrtest.Basic("a stranger", "wrong")).Status)
	operator := dcr.AsOperator(background, "ann")
	require.NoError(t, o.Provider.RevokeTokens(operator, third.ID()))
	_, record, err := o.Provider.MintInitialAccessToken(operator, dcr.InitialAccessTokenRequest{})
	require.NoError(t, err)
	require.NoError(t, o.Provider.RevokeInitialAccessToken(operator, record.ID))
	hands.ahead.Store(int64(2 * time.Hour))
	removed, err := o.Provider.Sweep(background)
	require.NoError(t, err)
	require.Equal(t, 2, removed)

	require.Equal(t, map[string]int64{
		"dcr.event.kind=registered,dcr.registrant.kind=open":                                 3,
		"dcr.event.kind=refused,dcr.registrant.kind=open,error.type=invalid_redirect_uri":    1,
		"dcr.event.kind=refused,dcr.registrant.kind=open,error.type=invalid_client_metadata": 2,
		"dcr.event.kind=limited,error.type=temporarily_unavailable":                          2,
		"dcr.event.kind=updated,dcr.registrant.kind=open":                                    1,
		"dcr.event.kind=token_rotated,dcr.registrant.kind=open":                              1,
		"dcr.event.kind=authentication_failed,error.type=invalid_token":                      1,
		"dcr.event.kind=deleted,dcr.registrant.kind=open":                                    1,
		"dcr.event.kind=authentication_failed,error.type=invalid_client":                     2,
		"dcr.event.kind=grants_revoked,dcr.registrant.kind=open":                             1,
		"dcr.event.kind=initial_access_token_minted":                                         1,
		"dcr.event.kind=initial_access_token_revoked":                                        1,
		"dcr.event.kind=expired,dcr.registrant.kind=open":                                    2,
	}, o.counted(t))
	require.Equal(t, map[string]uint64{
		"dcr.event.kind=registered":                                      3,
		"dcr.event.kind=refused,error.type=invalid_redirect_uri":         1,
		"dcr.event.kind=refused,error.type=invalid_client_metadata":      2,
		"dcr.event.kind=limited,error.type=temporarily_unavailable":      2,
		"dcr.event.kind=updated":                                         1,
		"dcr.event.kind=authentication_failed,error.type=invalid_token":  1,
		"dcr.event.kind=authentication_failed,error.type=invalid_client": 2,
		"dcr.event.kind=deleted":                                         1,
	}, o.measured(t), "each request once, and nothing that is none")
}

// TestInstruments: names, units and bounds are those that the package comment promises.
func TestInstruments(t *testing.T) {
	t.Parallel()
	for name, buckets := range map[string][]float64{"default": nil, "own": {1, 2}} {
		t.Run("LIFE-05/"+name, func(t *testing.T) {
			t.Parallel()
			o := observe(t, dcrtest.Setup{}, telemetry.Options{Buckets: buckets})
			o.Register(t, metadata)
			found := o.collected(t)
			require.Len(t, found, 2)
			events := found["dcr.events"]
			require.Equal(t, "{event}", events.Unit)
			require.NotEmpty(t, events.Description)
			sum := events.Data.(metricdata.Sum[int64])
			require.True(t, sum.IsMonotonic)
			duration := found["dcr.request.duration"]
			require.Equal(t, "s", duration.Unit)
			require.NotEmpty(t, duration.Description)
			bounds := duration.Data.(metricdata.Histogram[float64]).DataPoints[0].Bounds
			if buckets == nil {
				require.Len(t, bounds, 14)
				return
			}
			require.Equal(t, buckets, bounds)
		})
	}
}

// TestDuration: what is measured is Event.Elapsed, in seconds.
func TestDuration(t *testing.T) {
	t.Parallel()
	o := observe(t, dcrtest.Setup{}, telemetry.Options{})
	sink := o.sink
	sink.Record(background, dcr.Event{Kind: dcr.EventRegistered, Elapsed: 1500 * time.Millisecond})
	sink.Record(background, dcr.Event{Kind: dcr.EventRegistered})
	sink.Record(background, dcr.Event{Kind: dcr.EventExpired, Elapsed: time.Hour})
	sink.Record(background, dcr.Event{Kind: dcr.EventCleanupFailed, Elapsed: time.Hour, Err: errors.New("left")})
	points := o.collected(t)["dcr.request.duration"].Data.(metricdata.Histogram[float64]).DataPoints
	require.Len(t, points, 1)
	require.EqualValues(t, 1, points[0].Count)
	require.Equal(t, 1.5, points[0].Sum)
}

// TestCardinality: what callers choose makes no time series, and neither do kinds and
// codes that the application has not named (T16).
func TestCardinality(t *testing.T) {
	t.Parallel()
	access := dcr.AccessFunc(func(_ context.Context, r *http.Request) (*dcr.Registrant, error) {
		if code := r.Header.Get("Code"); code != "" {
			return nil, &fosite.RFC6749Error{ErrorField: code, CodeField: http.StatusForbidden}
		}
		return &dcr.Registrant{Kind: r.Header.Get("Kind"), Subject: "subject of " + r.Header.Get("Kind")}, nil
	})
	o := observe(t, dcrtest.Setup{Config: dcr.Config{Access: access}}, telemetry.Options{
		RegistrantKinds: []string{"partner"}, ErrorCodes: []string{"contract_ended"},
	})
	for _, kind := range []string{"partner", "open", "eve", "mallory"} {
		o.Register(t, metadata, dcrtest.Header("Kind", kind))
	}
	for _, code := range []string{"contract_ended", "eve", "mallory"} {
		require.Equal(t, http.StatusForbidden, o.Post(t, metadata, dcrtest.Header("Code", code)).Status)
	}
	for _, id := range []string{"eve", "mallory"} {
		o.Form(t, "/oauth2/token", url.Values{"grant_type": {"authorization_code"}, "client_id": {id}})
		o.Do(t, id, "/register", nil)
		o.Do(t, "GET", "/register/"+id, nil, dcrtest.Bearer(id))
	}
	require.Equal(t, map[string]int64{
		"dcr.event.kind=registered,dcr.registrant.kind=partner":          1,
		"dcr.event.kind=registered,dcr.registrant.kind=open":             1,
		"dcr.event.kind=registered,dcr.registrant.kind=_OTHER":           2,
		"dcr.event.kind=refused,error.type=contract_ended":               1,
		"dcr.event.kind=refused,error.type=_OTHER":                       2,
		"dcr.event.kind=refused,error.type=invalid_request":              2,
		"dcr.event.kind=authentication_failed,error.type=invalid_client": 2,
		"dcr.event.kind=authentication_failed,error.type=invalid_token":  2,
	}, o.counted(t))
}

// TestSpanEvents: the span of the request says what came of it.
func TestSpanEvents(t *testing.T) {
	t.Parallel()
	o := observe(t, dcrtest.Setup{}, telemetry.Options{})
	client := o.Register(t, metadata)
	o.Post(t, `{}`)
	o.Manage(t, "GET", client, nil, dcrtest.Bearer("wrong"))
	o.Form(t, "/oauth2/token", url.Values{"grant_type": {"authorization_code"}}, dcrtest.Basic(client.ID(), "wrong"))
	o.Form(t, "/oauth2/token", url.Values{"grant_type": {"authorization_code"}}, dcrtest.Basic("stranger", "wrong"))
	require.Equal(t, http.StatusNoContent, o.Manage(t, "DELETE", client, nil).Status)
	who := ",oauth.client_id=" + client.ID()
	require.Equal(t, []spanEvent{
		{"dcr.NewRegistrationResponse", "dcr.registered", "dcr.event.kind=registered,dcr.registrant.kind=open" + who},
		{"host", "dcr.refused", "dcr.event.kind=refused,dcr.registrant.kind=open,error.type=invalid_redirect_uri"},
		{"host", "dcr.authentication_failed", "dcr.event.kind=authentication_failed,error.type=invalid_token"},
		{"host", "dcr.authentication_failed", "dcr.event.kind=authentication_failed,error.type=invalid_client" + who},
		{"host", "dcr.authentication_failed", "dcr.event.kind=authentication_failed,error.type=invalid_client"},
		{"dcr.NewManagementResponse", "dcr.deleted", "dcr.event.kind=deleted,dcr.registrant.kind=open" + who},
	}, o.told())
}

// TestWithoutSpan: an event in a context without a span is counted all the same.
func TestWithoutSpan(t *testing.T) {
	t.Parallel()
	o := observe(t, dcrtest.Setup{}, telemetry.Options{})
	_, _, err := o.Provider.MintInitialAccessToken(background, dcr.InitialAccessTokenRequest{})
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"dcr.event.kind=initial_access_token_minted": 1}, o.counted(t))
	require.Empty(t, o.told())
}

// TestOwnCodes: the codes of this module and of fosite need no naming.
func TestOwnCodes(t *testing.T) {
	t.Parallel()
	o := observe(t, dcrtest.Setup{}, telemetry.Options{})
	own := []*fosite.RFC6749Error{
		dcr.ErrInvalidRedirectURI, dcr.ErrInvalidClientMetadata, dcr.ErrInvalidSoftwareStatement, dcr.ErrUnapprovedSoftwareStatement,
		dcr.ErrMissingToken, dcr.ErrInvalidToken, dcr.ErrInsufficientScope, dcr.ErrAccessDenied, dcr.ErrInvalidTarget, dcr.ErrTooManyRequests,
		dcr.ErrMethodNotAllowed, dcr.ErrBodyTooLarge, dcr.ErrUnsupportedMediaType, dcr.ErrBodyTimeout, dcr.ErrBadBody,
		fosite.ErrInvalidClient, fosite.ErrServerError, fosite.ErrTemporarilyUnavailable, fosite.ErrJTIKnown,
	}
	for _, code := range own {
		o.sink.Record(background, dcr.Event{Kind: dcr.EventRefused, Err: code})
	}
	o.sink.Record(background, dcr.Event{Kind: dcr.EventRefused, Err: errors.New("no code at all")})
	require.Equal(t, int64(1), o.counted(t)["dcr.event.kind=refused,error.type=_OTHER"])
}

// refusing is a meter provider that makes no instrument of one name.
type refusing struct {
	noop.MeterProvider
	name string
}

type refusingMeter struct {
	noop.Meter
	name string
}

var errNoInstrument = errors.New("no such instrument")

func (r refusing) Meter(string, ...metric.MeterOption) metric.Meter {
	return refusingMeter{name: r.name}
}

func (m refusingMeter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	if name == m.name {
		return nil, errNoInstrument
	}
	return noop.Int64Counter{}, nil
}

func (m refusingMeter) Float64Histogram(name string, _ ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	if name == m.name {
		return nil, errNoInstrument
	}
	return noop.Float64Histogram{}, nil
}

// TestNew: what the provider says is said, and without one there is the global one.
func TestNew(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dcr.events", "dcr.request.duration"} {
		sink, err := telemetry.New(telemetry.Options{MeterProvider: refusing{name: name}})
		require.ErrorIs(t, err, errNoInstrument)
		require.Nil(t, sink)
	}
	sink, err := telemetry.New(telemetry.Options{})
	require.NoError(t, err)
	sink.Record(background, dcr.Event{Kind: dcr.EventRegistered, Elapsed: time.Second})
}
