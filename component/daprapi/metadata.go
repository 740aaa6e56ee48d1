package daprapi

import (
	"bytes"
	"context"
	"encoding/json"

	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"
)

// GetMetadata returns the app's id and components, as daprd does without an app channel
// and without actors.
func (a *API) GetMetadata(context.Context, *runtimepb.GetMetadataRequest) (*runtimepb.GetMetadataResponse, error) {
	return &runtimepb.GetMetadataResponse{
		Id:                   a.options.AppID,
		RegisteredComponents: a.components(),
		ExtendedMetadata:     map[string]string{"daprRuntimeVersion": a.options.Version},
		RuntimeVersion:       a.options.Version,
		AppConnectionProperties: &runtimepb.AppConnectionProperties{
			Protocol:       "http",
			ChannelAddress: "127.0.0.1",
		},
		ActorRuntime: &runtimepb.ActorRuntime{
			RuntimeStatus: runtimepb.ActorRuntime_DISABLED,
			Placement:     "placement: disconnected",
		},
		Workflows: &runtimepb.MetadataWorkflows{},
	}, nil
}

func (a *API) components() []*runtimepb.RegisteredComponents {
	components := make([]*runtimepb.RegisteredComponents, len(a.options.Components))
	for i, c := range a.options.Components {
		components[i] = &runtimepb.RegisteredComponents{Name: c.Name, Type: c.Type, Version: c.Version}
	}
	return components
}

// metadataJSON is the HTTP response, whose field names differ from the message's.
type metadataJSON struct {
	ID             string                            `json:"id,omitempty"`
	RuntimeVersion string                            `json:"runtimeVersion,omitempty"`
	Components     []*runtimepb.RegisteredComponents `json:"components,omitempty"`
	Extended       map[string]string                 `json:"extended,omitempty"`
	AppConnection  struct {
		Protocol       string `json:"protocol,omitempty"`
		ChannelAddress string `json:"channelAddress,omitempty"`
	} `json:"appConnectionProperties"`
	ActorRuntime struct {
		Status    string `json:"runtimeStatus"`
		HostReady bool   `json:"hostReady"`
		Placement string `json:"placement,omitempty"`
	} `json:"actorRuntime"`
}

// writeMetadata returns the HTTP response.
func writeMetadata(m *runtimepb.GetMetadataResponse) ([]byte, error) {
	response := metadataJSON{
		ID:             m.GetId(),
		RuntimeVersion: m.GetRuntimeVersion(),
		Components:     m.GetRegisteredComponents(),
		Extended:       m.GetExtendedMetadata(),
	}
	response.AppConnection.Protocol = m.GetAppConnectionProperties().GetProtocol()
	response.AppConnection.ChannelAddress = m.GetAppConnectionProperties().GetChannelAddress()
	response.ActorRuntime.Status = m.GetActorRuntime().GetRuntimeStatus().String()
	response.ActorRuntime.HostReady = m.GetActorRuntime().GetHostReady()
	response.ActorRuntime.Placement = m.GetActorRuntime().GetPlacement()
	var text bytes.Buffer
	err := json.NewEncoder(&text).Encode(response) // with a newline, as daprd does
	return text.Bytes(), err
}
