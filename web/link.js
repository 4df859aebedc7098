// The connection's state, in words, with the wait that is left.

import { write } from "/element.js";
import { duration } from "/format.js";

const COUNTDOWN_EVERY_MS = 500;

const [chip, text, wait, retry] = ["link", "link-text", "link-wait", "link-retry"].map((id) => document.getElementById(id));

/** Shows the state of `client`'s connection from now on, and lets it be hurried. */
export function showLink(client) {
  let drains = false;
  const show = () => {
    const { state } = client;
    if (state.status === "open") drains = state.reconnectInMs !== undefined;
    chip.dataset.state = drains && state.status === "open" ? "draining" : state.status;
    write(text, wordsFor(state, drains));
    retry.hidden = state.status !== "waiting";
    countDown(state);
  };
  client.onState(show);
  setInterval(() => countDown(client.state), COUNTDOWN_EVERY_MS);
  retry.addEventListener("click", () => client.reconnect());
  show();
}

function wordsFor({ status, error }, drains) {
  if (status === "open") return drains ? "Server restarting" : "Connected";
  if (status === "waiting") return drains ? "Server restarting" : "Disconnected";
  return status === "connecting" ? "Connecting" : `Stopped: ${error.message}`;
}

function countDown({ status, retryAt }) {
  write(wait, status === "waiting" ? `back in ${duration(retryAt - Date.now())}` : "");
}
