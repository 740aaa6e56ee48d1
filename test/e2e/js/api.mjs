// An app that serves the lock routes of Dapr's HTTP API by calls of Dapr's JavaScript SDK,
// so that tests can use the SDK like the HTTP API.
//
//   node api.mjs GRPC|HTTP <port>   the protocol between the SDK and Dapr, and Dapr's port
//
// The SDK reads $DAPR_API_TOKEN.
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { CommunicationProtocolEnum, DaprClient } from "@dapr/dapr";
import { LockStatus } from "@dapr/dapr/types/lock/UnlockResponse.js";

const [protocol, daprPort] = process.argv.slice(2);
const client = new DaprClient({ daprPort, communicationProtocol: CommunicationProtocolEnum[protocol] });

// numbers are the statuses of Dapr's HTTP API by the SDK's names.
const numbers = { Success: 0, LockDoesNotExist: 1, LockBelongsToOthers: 2, InternalError: 3 };

const routes = {
  async lock(store, { resourceId, lockOwner, expiryInSeconds }) {
    const { success } = await client.lock.lock(store, resourceId, lockOwner, expiryInSeconds);
    return { success };
  },
  async unlock(store, { resourceId, lockOwner }) {
    const { status } = await client.lock.unlock(store, resourceId, lockOwner);
    return { status: numbers[LockStatus[status]] };
  },
};

const server = createServer(async (request, response) => {
  try {
    const [, , verb, store] = request.url.split("/");
    response.end(JSON.stringify(await routes[verb](decodeURIComponent(store), await json(request))));
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
});
server.listen(0, "127.0.0.1", () => console.log(`API at http://127.0.0.1:${server.address().port}`));
