package component

import "fmt"

// Dev returns options for trying things out on one machine: a component called lockstore
// on the memory store, served on the socket, as RTM over HTTP, and as Dapr's and
// Layotto's API at the ports that Dapr's SDKs look for by themselves. Flags can change
// all of it, and add the rest.
func Dev() Options {
	return Options{
		Components: []Component{{Name: "lockstore", Type: "lock.mortise", Version: "v1"}},
		TCP: TCPOptions{
			HTTPAddress: "127.0.0.1:7080",
			Dapr:        DaprOptions{GRPCAddress: "127.0.0.1:50001", HTTPAddress: "127.0.0.1:3500", AppID: "dev"},
		},
	}
}

// Hint is a command that takes a lock of what the options serve, for a shell; empty if
// they do not serve Dapr's API over HTTP.
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
