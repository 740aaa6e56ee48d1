// An app that uses Dapr's JavaScript SDK, and does what the SDK does for whoever asks: what it is asked, and what it answers, are
// those of the routes for locks of Dapr's own HTTP API. So a test that can use one can use the other.
//
//   node api.mjs GRPC|HTTP <port>        the protocol between the SDK and Dapr, and Dapr's port for it
//
// $DAPR_API_TOKEN is the SDK's business.
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { CommunicationProtocolEnum, DaprClient } from "@dapr/dapr";
import { LockStatus } from "@dapr/dapr/types/lock/UnlockResponse.js";

const [protocol, daprPort] = process.argv.slice(2);
const client = new DaprClient({ daprPort, communicationProtocol: CommunicationProtocolEnum[protocol] });

// numbers are those that Dapr's HTTP API has for the SDK's names.
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
