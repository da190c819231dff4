package telemetry_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gorilla/mux"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/telemetry"
)

// A server whose registrations are counted. An application uses an exporter, such as
// the one for Prometheus, instead of the reader.
func Example() {
	reader := sdkmetric.NewManualReader()
	sink, err := telemetry.New(telemetry.Options{
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
	})
	if err != nil {
		log.Fatal(err)
	}
	config := &fosite.Config{
		AccessTokenIssuer: "https://as.example",
		GlobalSecret:      []byte("thirty-two bytes or more, kept safe"),
	}
	provider, err := dcr.Extend(compose.Compose(config, dcr.NewMemoryStore(), compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory,
		compose.OAuth2PKCEFactory,
		dcr.NewFactory(dcr.Config{Access: dcr.Open(), Events: sink}),
	))
	if err != nil {
		log.Fatal(err)
	}
	router := mux.NewRouter().UseEncodedPath()
	provider.Mount(router)

	for _, metadata := range []string{
		`{"redirect_uris": ["https://app.example/cb"]}`, `{"redirect_uris": ["https://app.example/cb"]}`,
		`{"redirect_uris": ["http://app.example/cb"]}`,
	} {
		r := httptest.NewRequest(http.MethodPost, "/register", strings.NewReader(metadata))
		r.Header.Set("Content-Type", "application/json")
		router.ServeHTTP(httptest.NewRecorder(), r)
	}

	var collected metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &collected); err != nil {
		log.Fatal(err)
	}
	for _, m := range collected.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
			for _, point := range sum.DataPoints {
				fmt.Println(m.Name, point.Attributes.Encoded(attribute.DefaultEncoder()), point.Value)
			}
		}
	}
	// Unordered output:
	// dcr.events dcr.event.kind=registered,dcr.registrant.kind=open 2
	// dcr.events dcr.event.kind=refused,dcr.registrant.kind=open,error.type=invalid_redirect_uri 1
}
