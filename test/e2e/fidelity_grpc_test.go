package e2e

import (
	"strings"

	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/protobuf/types/known/emptypb"
)

// tryLock and unlock are calls of Dapr's service.
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

// Answers that are no errors, as bytes: of a truth value, and of the number of a status.
const (
	saysGranted = "OK: \nanswer [0801]"
	saysRefused = "OK: \nanswer []"
	saysFreed   = "OK: \nanswer []"
	saysAbsent  = "OK: \nanswer [0801]"
	saysOthers  = "OK: \nanswer [0802]"
)

// grpcOrder is what an app does with its locks.
var grpcOrder = []exchange{
	{name: "a free lock is granted", call: tryLock("locks", "g1", "alice", 60), says: saysGranted},
	{name: "its owner is refused", call: tryLock("locks", "g1", "alice", 60), says: saysRefused},
	{name: "others are refused", call: tryLock("locks", "g1", "bob", 60), says: saysRefused},
	{name: "others cannot unlock", call: unlock("locks", "g1", "bob"), says: saysOthers},
	{name: "what nobody holds cannot be unlocked", call: unlock("locks", "g2", "bob"), says: saysAbsent},
	{name: "its owner unlocks", call: unlock("locks", "g1", "alice"), says: saysFreed},
	{name: "and not twice", call: unlock("locks", "g1", "alice"), says: saysAbsent},
	{name: "a lock for a second is granted", call: tryLock("locks", "g3", "alice", 1), says: saysGranted},
	{name: "it is free when it has expired", call: tryLock("locks", "g3", "bob", 60), says: saysGranted, after: expiryOne},
	{name: "who had it cannot unlock", call: unlock("locks", "g3", "alice"), says: saysOthers},
	{name: "fields that nobody knows", call: grpcCall{method: "TryLockAlpha1", message: raw(
		0x0a, 5, 'l', 'o', 'c', 'k', 's', 0x12, 2, 'g', '4', 0x1a, 1, 'a', 0x20, 60, 0x7a, 1, 'x')}, says: saysGranted},
}

// grpcFields are bad values, and which of several faults is told.
var grpcFields = []exchange{
	{name: "nothing", call: tryLock("", "", "", 0), says: "ExpiryInSeconds is not positive in lock store "},
	{name: "seconds come first", call: tryLock("nix", "", "", -1),
		says: "InvalidArgument: ExpiryInSeconds is not positive in lock store nix"},
	{name: "then the resource", call: tryLock("nix", "", "", 1), says: "InvalidArgument: ResourceId is empty in lock store nix"},
	{name: "then the owner", call: tryLock("nix", "a||b", "", 1), says: "InvalidArgument: LockOwner is empty in lock store nix"},
	{name: "then the store", call: tryLock("nix", "a||b", "a", 1), says: "InvalidArgument: lock store nix not found"},
	{name: "no store", call: tryLock("", "a", "a", 1), says: "InvalidArgument: lock store  not found"},
	{name: "then a separator in the resource", call: tryLock("locks", "a||b", "a", 1),
		says: "Internal: failed to try acquiring lock"},
	{name: "to unlock: nothing", call: unlock("", "", ""), says: "InvalidArgument: ResourceId is empty in lock store "},
	{name: "to unlock: the owner", call: unlock("nix", "a||b", ""),
		says: "InvalidArgument: LockOwner is empty in lock store nix"},
	{name: "to unlock: the store", call: unlock("nix", "a||b", "a"), says: "InvalidArgument: lock store nix not found"},
	{name: "to unlock: a separator", call: unlock("locks", "||", "a"), says: "Internal: failed to release lock"},
	{name: "bytes that are no UTF-8", call: grpcCall{method: "TryLockAlpha1", message: raw(0x0a, 1, 0xff)},
		says: "invalid UTF-8"},
	{name: "a message that breaks off", call: grpcCall{method: "UnlockAlpha1", message: raw(0x0a, 5, 'l')}, says: "Internal"},
	{name: "a message that is too large", call: unlock("locks", "a", strings.Repeat("x", maxBody)), says: "ResourceExhausted"},
}

// grpcMethods are methods that lead nowhere.
var grpcMethods = []exchange{
	{name: "a method that does not exist", call: grpcCall{method: "RenewLockAlpha1", message: &emptypb.Empty{}},
		says: "Unknown: failed to proxy request"},
	{name: "a service that does not exist", call: grpcCall{method: "/a.B/C", message: &emptypb.Empty{}},
		says: "Unknown: cannot proxy request"},
	{name: "what is no method", call: grpcCall{method: "/nix", message: &emptypb.Empty{}}, says: "nix"},
}
