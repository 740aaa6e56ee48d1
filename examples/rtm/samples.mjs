// All samples of RTM's documentation of locks, run against Mortise:
//
//   mortise --resources-path deploy/components/memory.yaml --http-listen-address 127.0.0.1:7080 &
//   node samples.mjs http://127.0.0.1:7080
import { login } from "./rtm.mjs";

const rtm = login({ url: process.argv[2] ?? "http://127.0.0.1:7080", store: process.argv[3] ?? "lockstore", user: "alice" });

const sample = async (name, run) => {
  try {
    console.log(name, JSON.stringify(await run()));
  } catch (status) {
    console.log(name, "failed:", JSON.stringify(status));
    process.exitCode = 1;
  }
};

await sample("setLock", () =>
  rtm.Lock.setLock({
    channel: "my_channel",
    channelType: 1,
    lockName: "my_lock",
    ttl: 30,
  }),
);

await sample("acquireLock", () =>
  rtm.Lock.acquireLock({
    channel: "my_channel",
    channelType: 1,
    lockName: "my_lock",
    retry: false,
  }),
);

await sample("releaseLock", () =>
  rtm.Lock.releaseLock({
    channel: "my_channel",
    channelType: 1,
    lockName: "my_lock",
  }),
);

// The next sample needs a held lock.
await rtm.Lock.acquireLock({ channel: "my_channel", channelType: 1, lockName: "my_lock" });

await sample("revokeLock", () =>
  rtm.Lock.revokeLockLock({
    channel: "my_channel",
    channelType: 1,
    lockName: "my_lock",
  }),
);

await sample("getLock", () =>
  rtm.Lock.getLock({
    channel: "my_channel",
    channelType: 1,
  }),
);

await sample("removeLock", () =>
  rtm.Lock.removeLockLock({
    channel: "my_channel",
    channelType: 1,
    lockName: "my_lock",
  }),
);
