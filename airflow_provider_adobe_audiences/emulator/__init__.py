# SPDX-License-Identifier: Apache-2.0
"""Adobe on localhost: Experience Platform, Audience Manager and Target, as far as this provider uses them.

It follows Adobe's documents. Where they are silent or contradict each other, a named switch with a default
decides; none of those choices is evidence of what Adobe does.
"""
