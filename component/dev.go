package component

import "fmt"

// Dev returns the options of mortise dev: a component named lockstore with the memory
// store, served on the socket, by RTM over HTTP, and by Dapr's and Layotto's API on the
// default ports of Dapr's SDKs. Flags can change all of them.
func Dev() Options {
	return Options{
		Components: []Component{{Name: "lockstore", Type: "lock.mortise", Version: "v1"}},
		TCP: TCPOptions{
			HTTPAddress: "127.0.0.1:7080",
			Dapr:        DaprOptions{GRPCAddress: "127.0.0.1:50001", HTTPAddress: "127.0.0.1:3500", AppID: "dev"},
		},
	}
}

// Hint returns a shell command that takes a lock through Dapr's API over HTTP, or "" if
// the options do not serve that API.
func (o Options) Hint() string {
	if o.TCP.Dapr.HTTPAddress == "" || len(o.Components) == 0 {
		return ""
	}
	scheme, token := "http", ""
	if o.TCP.CertFile != "" {
		scheme = "https"
	}
	if o.TCP.Dapr.Token != "" {
		token = ` -H "dapr-api-token: $` + DaprTokenVariable + `"`
	}
	return fmt.Sprintf("curl%s %s://%s/v1.0-alpha1/lock/%s -d '%s'", token, scheme, o.TCP.Dapr.HTTPAddress, o.Components[0].Name,
		`{"resourceId": "order-1", "lockOwner": "me", "expiryInSeconds": 30}`)
}
