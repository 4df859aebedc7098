"""Schemas of the custom resources that the chart makes: the parts of their published definitions that it uses, and no more."""


def _resource(version: str, kind: str, spec: dict) -> dict:
    metadata = {"type": "object", "required": ["name", "labels"]}
    properties = {"apiVersion": {"const": version}, "kind": {"const": kind}, "metadata": metadata, "spec": spec}
    return {"type": "object", "additionalProperties": False, "required": list(properties), "properties": properties}


def _object(required: list[str] = (), **properties) -> dict:
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


def _list(items: dict) -> dict:
    return {"type": "array", "minItems": 1, "items": items}


_NAME = {"type": "string", "pattern": "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", "maxLength": 253}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_TIME = {"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"}
_PARENT = _object(["name"], group={"type": "string"}, kind={"type": "string"}, namespace=_NAME, name=_NAME,
                  sectionName=_NAME, port=_PORT)
_MATCH = _object(path=_object(["type", "value"], type={"enum": ["Exact", "PathPrefix", "RegularExpression"]},
                              value={"type": "string", "pattern": "^/"}))
_RULE = _object(matches=_list(_MATCH), timeouts=_object(request=_TIME, backendRequest=_TIME),
                backendRefs=_list(_object(["name", "port"], name=_NAME, port=_PORT)))
_ROUTE = _object(["parentRefs", "rules"], parentRefs=_list(_PARENT), hostnames=_list(_NAME), rules=_list(_RULE))

_MONITOR = _object(["selector", "endpoints"], jobLabel={"type": "string"}, selector=_object(matchLabels=_TEXTS),
                   endpoints=_list(_object(port={"type": "string"}, path={"type": "string"}, interval=_TIME)))

_ALERT = _object(["alert", "expr", "labels", "annotations"], alert={"type": "string"}, expr={"type": "string"},
                 labels=_TEXTS, annotations=_TEXTS, **{"for": _TIME})
_RULES = _object(["groups"], groups=_list(_object(["name", "rules"], name={"type": "string"}, rules=_list(_ALERT))))

SCHEMAS = {
    "gateway.networking.k8s.io/v1": {"HTTPRoute": _resource("gateway.networking.k8s.io/v1", "HTTPRoute", _ROUTE)},
    "monitoring.coreos.com/v1": {
        "ServiceMonitor": _resource("monitoring.coreos.com/v1", "ServiceMonitor", _MONITOR),
        "PrometheusRule": _resource("monitoring.coreos.com/v1", "PrometheusRule", _RULES),
    },
}
