// Asks flags through OpenFeature's JavaScript SDK for servers and its OFREP provider.
//
// usage: ofrep.js BASE; reads {"flag", "context"} a line, writes {"value", "variant", "reason", "error", "metadata"} a line.

const readline = require("node:readline");
const { OpenFeature } = require("@openfeature/server-sdk");
const { OFREPProvider } = require("@openfeature/ofrep-provider");

async function main() {
  await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: process.argv[2] }));
  const client = OpenFeature.getClient();
  const ask = {
    string: (flag, context) => client.getStringDetails(flag, "code-default", context),
    boolean: (flag, context) => client.getBooleanDetails(flag, false, context),
    integer: (flag, context) => client.getNumberDetails(flag, -1, context),
    object: (flag, context) => client.getObjectDetails(flag, {}, context),
  };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { flag, context, type } = JSON.parse(line);
    const details = await ask[type ?? "string"](flag, context);
    const { value, variant, reason, errorCode, flagMetadata } = details;
    console.log(JSON.stringify({ value, variant, reason, error: errorCode, metadata: flagMetadata }));
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
