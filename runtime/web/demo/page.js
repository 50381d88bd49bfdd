/* page.js - the demo page: models.js brings a model, talk.js writes with it. */
import { setUpModels } from "./models.js";
import { setModel, setUpTalk } from "./talk.js";

setUpTalk();
setUpModels(setModel);
