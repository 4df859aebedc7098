// The scenarios of docs/client.md on the TypeScript client in Chromium.

import { chromium } from "./adapters.mjs";
import { suite } from "./suite.mjs";

suite(chromium);
