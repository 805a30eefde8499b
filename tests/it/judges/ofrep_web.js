// Follows one flag through OpenFeature's JavaScript SDK for browsers: all flags at once, then events, and never a poll.
//
// usage: ofrep_web.js BASE FLAG TARGETING_KEY; writes {"value", "reason"} at the start and at each change, a line each, and
// {"status": [...]} of the evaluations so far before each.

const { EventSource } = require("eventsource");
const { OpenFeature, ProviderEvents } = require("@openfeature/web-sdk");
const { OFREPWebProvider } = require("@openfeature/ofrep-web-provider");

globalThis.EventSource = EventSource;

async function main() {
  const [baseUrl, flag, targetingKey] = process.argv.slice(2);
  const status = [];
  const fetchImplementation = async (...request) => {
    const response = await fetch(...request);
    status.push(response.status);
    return response;
  };
  const client = OpenFeature.getClient();
  const show = () => {
    const { value, reason } = client.getStringDetails(flag, "code-default");
    console.log(JSON.stringify({ status: [...status] }));
    console.log(JSON.stringify({ value, reason }));
  };
  client.addHandler(ProviderEvents.ConfigurationChanged, show);
  await OpenFeature.setContext({ targetingKey });
  const provider = new OFREPWebProvider({ baseUrl, pollInterval: 0, cacheMode: "disabled", fetchImplementation });
  await OpenFeature.setProviderAndWait(provider);
  show();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
