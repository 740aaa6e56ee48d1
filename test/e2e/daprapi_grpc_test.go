package e2e

import (
	"strings"

	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/protobuf/types/known/emptypb"
)

// tryLock and unlock return calls of Dapr's service.
func tryLock(store, resource, owner string, seconds int32) grpcCall {
	return grpcCall{method: "TryLockAlpha1", message: &runtimepb.TryLockRequest{
		StoreName: store, ResourceId: resource, LockOwner: owner, ExpiryInSeconds: seconds,
	}}
}

func unlock(store, resource, owner string) grpcCall {
	return grpcCall{method: "UnlockAlpha1", message: &runtimepb.UnlockRequest{
		StoreName: store, ResourceId: resource, LockOwner: owner,
	}}
}

// Responses without an error, as encoded bytes of a bool or of a status.
const (
	wantGranted  = "OK: \nanswer [0801]"
	wantRefused  = "OK: \nanswer []"
	wantUnlocked = "OK: \nanswer []"
	wantNotFound = "OK: \nanswer [0801]"
	wantNotOwner = "OK: \nanswer [0802]"
)

// grpcLocks are the usual calls of an app.
var grpcLocks = []exchange{
	{name: "a free lock is granted", call: tryLock("locks", "g1", "alice", 60), want: wantGranted},
	{name: "its owner is refused", call: tryLock("locks", "g1", "alice", 60), want: wantRefused},
	{name: "others are refused", call: tryLock("locks", "g1", "bob", 60), want: wantRefused},
	{name: "others cannot unlock", call: unlock("locks", "g1", "bob"), want: wantNotOwner},
	{name: "a free lock cannot be unlocked", call: unlock("locks", "g2", "bob"), want: wantNotFound},
	{name: "its owner unlocks", call: unlock("locks", "g1", "alice"), want: wantUnlocked},
	{name: "but not twice", call: unlock("locks", "g1", "alice"), want: wantNotFound},
	{name: "a lock for a second is granted", call: tryLock("locks", "g3", "alice", 1), want: wantGranted},
	{name: "it is free after its expiry", call: tryLock("locks", "g3", "bob", 60), want: wantGranted, after: expiryOne},
	{name: "its previous owner cannot unlock", call: unlock("locks", "g3", "alice"), want: wantNotOwner},
	{name: "unknown fields", call: grpcCall{method: "TryLockAlpha1", message: raw(
		0x0a, 5, 'l', 'o', 'c', 'k', 's', 0x12, 2, 'g', '4', 0x1a, 1, 'a', 0x20, 60, 0x7a, 1, 'x')}, want: wantGranted},
}

// grpcFields are invalid values, and which of several errors is returned.
var grpcFields = []exchange{
	{name: "nothing", call: tryLock("", "", "", 0), want: "ExpiryInSeconds is not positive in lock store "},
	{name: "seconds come first", call: tryLock("nix", "", "", -1),
		want: "InvalidArgument: ExpiryInSeconds is not positive in lock store nix"},
	{name: "then the resource", call: tryLock("nix", "", "", 1), want: "InvalidArgument: ResourceId is empty in lock store nix"},
	{name: "then the owner", call: tryLock("nix", "a||b", "", 1), want: "InvalidArgument: LockOwner is empty in lock store nix"},
	{name: "then the store", call: tryLock("nix", "a||b", "a", 1), want: "InvalidArgument: lock store nix not found"},
	{name: "no store", call: tryLock("", "a", "a", 1), want: "InvalidArgument: lock store  not found"},
	{name: "then a separator in the resource", call: tryLock("locks", "a||b", "a", 1),
		want: "Internal: failed to try acquiring lock"},
	{name: "to unlock: nothing", call: unlock("", "", ""), want: "InvalidArgument: ResourceId is empty in lock store "},
	{name: "to unlock: the owner", call: unlock("nix", "a||b", ""),
		want: "InvalidArgument: LockOwner is empty in lock store nix"},
	{name: "to unlock: the store", call: unlock("nix", "a||b", "a"), want: "InvalidArgument: lock store nix not found"},
	{name: "to unlock: a separator", call: unlock("locks", "||", "a"), want: "Internal: failed to release lock"},
	{name: "invalid UTF-8", call: grpcCall{method: "TryLockAlpha1", message: raw(0x0a, 1, 0xff)},
		want: "invalid UTF-8"},
	{name: "a truncated message", call: grpcCall{method: "UnlockAlpha1", message: raw(0x0a, 5, 'l')}, want: "Internal"},
	{name: "a message that is too large", call: unlock("locks", "a", strings.Repeat("x", maxBody)), want: "ResourceExhausted"},
}

// grpcMethods are unknown methods.
var grpcMethods = []exchange{
	{name: "a method that does not exist", call: grpcCall{method: "RenewLockAlpha1", message: &emptypb.Empty{}},
		want: "Unknown: failed to proxy request"},
	{name: "a service that does not exist", call: grpcCall{method: "/a.B/C", message: &emptypb.Empty{}},
		want: "Unknown: cannot proxy request"},
	{name: "an invalid method", call: grpcCall{method: "/nix", message: &emptypb.Empty{}}, want: "nix"},
}
