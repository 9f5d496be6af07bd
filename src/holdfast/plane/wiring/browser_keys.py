"""Makes what answers about keys of browsers, and carries samples of previews."""

from __future__ import annotations

from holdfast.accounts.directory import LOCAL_ACCOUNT
from holdfast.content import limits
from holdfast.content.browsers import BrowserCalls
from holdfast.content.ports import Consents
from holdfast.content.samples import SampleCalls
from holdfast.plane.wiring.accounts import account_exists
from holdfast.plane.wiring.content import Observed
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import Part, every
from holdfast.wire.controller.calls import Controllers
from holdfast.wire.controller.observing import ENROL


def browser_keys_part(
    core: Core, observed: Observed, consents: Consents, controllers: Controllers
) -> Part:
    """Return the part; machines of instances enrol by their controllers."""
    samples = SampleCalls(observed.directory, consents, clock=core.clock)
    browsers = BrowserCalls(
        observed.store,
        observed.directory,
        enrol=lambda instance, order: controllers.call(instance, ENROL, body=order),
        account_exists=account_exists(core),
        default_account=LOCAL_ACCOUNT,
        log=core.log,
    )
    forget_s = limits.FLUSH_S
    return Part(
        name="browser-keys",
        handlers={**browsers.by_endpoint(), **samples.by_endpoint()},
        jobs=(every("content.samples", samples.purge, forget_s, core.log, first_s=forget_s),),
    )
